"""Filling one OpenSSL context: certificates, trust, suites, versions. Whatever is wrong becomes `TlsRefused`, in words."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from voltgw.errors import TlsRefused
from voltgw.net.tls import libssl
from voltgw.values.tls import Version

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltgw.net.tls.libssl import Library
    from voltgw.values.tls import KeyPair, PeerRules

#: Mozilla's intermediate list (https://wiki.mozilla.org/Security/Server_Side_TLS) without DHE, whose handshakes cost a
#: server most and which no client needs that can do TLS 1.2.
SUITES_1_3: Final = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
SUITES_1_2: Final = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
)
#: What TLS 1.0 and 1.1 need beside them: those have neither GCM nor ChaCha20.
SUITES_1_0: Final = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
)
#: The rest that TLS 1.3 has: only by name.
_RARE_1_3: Final = ("TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256")
#: Key exchange, the best first. A library that does not know the hybrid (OpenSSL before 3.5) is given the rest.
_GROUPS: Final = (b"X25519MLKEM768:X25519:P-256:P-384", b"X25519:P-256:P-384")
_KINDS: Final = {6: "RSA", 408: "ECDSA", 912: "RSA-PSS", 1087: "Ed25519", 1088: "Ed448", 116: "DSA"}


class Setup:
    """One SSL_CTX being filled. `staples` are OCSP responses by the address of their certificate; `crls` live as long."""

    def __init__(self, library: Library, method: Any) -> None:
        self._library = library
        self._crypto = library.crypto
        self._lib = library.ssl
        self._ffi = library.ffi
        self._crypto.ERR_clear_error()
        pointer = self._lib.SSL_CTX_new(method)
        self.check(pointer != self._ffi.NULL, "a context")
        self.pointer = self._ffi.gc(pointer, self._lib.SSL_CTX_free)
        self.staples: dict[int, bytes] = {}
        self.crls: list[Any] = []
        self._kinds: set[int] = set()
        self._lib.SSL_CTX_set_options(self.pointer, libssl.NO_RENEGOTIATION | libssl.NO_COMPRESSION
                                      | libssl.IGNORE_UNEXPECTED_EOF
                                      | libssl.SERVER_PREFERENCE | libssl.PRIORITIZE_CHACHA)
        self._ctrl(libssl.CTRL_MODE, libssl.MODE_ENABLE_PARTIAL_WRITE | libssl.MODE_ACCEPT_MOVING_WRITE_BUFFER
                   | libssl.MODE_RELEASE_BUFFERS)
        self._ctrl(libssl.CTRL_CLEAR_MODE, libssl.MODE_AUTO_RETRY)
        self._ctrl(libssl.CTRL_READ_AHEAD, 1)       # one system call for a small record, not two

    def check(self, done: object, what: str) -> None:
        """Refuse, with OpenSSL's own words, unless `done`."""
        if not done:
            raise TlsRefused(f"{what}: {self._words()}")

    def versions(self, minimum: Version, maximum: Version) -> None:
        """Lowest and highest version of the protocol."""
        if minimum.value > maximum.value:
            raise TlsRefused("the lowest TLS version is above the highest")
        self.check(self._ctrl(libssl.CTRL_SET_MIN_PROTO_VERSION, minimum.value), "the lowest version")
        self.check(self._ctrl(libssl.CTRL_SET_MAX_PROTO_VERSION, maximum.value), "the highest version")

    def suites(self, names: tuple[str, ...], minimum: Version) -> None:
        """Cipher suites by IANA's names, the preferred first; () = ours."""
        old = minimum.value < Version.TLS_1_2.value
        if not names:
            names = SUITES_1_3 + SUITES_1_2 + (SUITES_1_0 if old else ())
        known = self._known()
        new: list[str] = []
        rest: list[str] = []
        for name in names:
            found = known.get(name)
            if found is None:
                near = difflib.get_close_matches(name, known, 1)
                raise TlsRefused(f"{name} is no cipher suite of {self._library.version}"
                                 + (f"; did you mean {near[0]}?" if near else ""))
            (new if found == name else rest).append(found)      # only those of TLS 1.3 have one name everywhere
        # the signatures of TLS 1.0 and 1.1 are SHA-1's, which higher security levels refuse
        listed = ":".join(rest) or "ALL"
        self.check(self._lib.SSL_CTX_set_cipher_list(self.pointer, f"{listed}{'@SECLEVEL=0' if old else ''}".encode()),
                   "the cipher suites")
        self.check(self._lib.SSL_CTX_set_ciphersuites(self.pointer, ":".join(new or SUITES_1_3).encode()),
                   "the cipher suites of TLS 1.3")
        if not new and names:
            self._without(Version.TLS_1_3)
        elif not rest:
            self._ctrl(libssl.CTRL_SET_MIN_PROTO_VERSION, Version.TLS_1_3.value)

    def groups(self) -> None:
        """Groups of the key exchange."""
        for names in _GROUPS:
            if self._ctrl(libssl.CTRL_SET_GROUPS_LIST, 0, self._ffi.new("char[]", names)):
                self._crypto.ERR_clear_error()
                return
        self.check(False, "the groups of the key exchange")

    def certificate(self, pair: KeyPair) -> None:
        """Our certificate with its chain and key; one of each kind of key (RSA, ECDSA) may stand beside the others."""
        ffi, crypto = self._ffi, self._crypto
        chain = list(self._certificates(pair.chain, "the certificate"))
        if not chain:
            raise TlsRefused("the certificate: no PEM certificate in it")
        source = self._source(pair.key)
        key = crypto.PEM_read_bio_PrivateKey(source, ffi.NULL, ffi.NULL, b"")       # "" for a passphrase: nobody is asked
        if key == ffi.NULL:
            raise TlsRefused(f"the private key cannot be read (an encrypted one needs to be decrypted first): {self._words()}")
        key = ffi.gc(key, crypto.EVP_PKEY_free)
        kind = crypto.EVP_PKEY_get_base_id(key)
        if kind in self._kinds:
            raise TlsRefused(f"two certificates with {_KINDS.get(kind, 'the same kind of')} keys; one of each kind can stand")
        self._kinds.add(kind)
        stack = ffi.gc(crypto.OPENSSL_sk_new_null(), crypto.OPENSSL_sk_free)
        for above in chain[1:]:
            crypto.OPENSSL_sk_push(stack, above)
        self.check(self._lib.SSL_CTX_use_cert_and_key(self.pointer, chain[0], key, stack, 1), "the certificate and its key")
        if pair.ocsp is not None:
            self.staples[int(ffi.cast("uintptr_t", chain[0]))] = pair.ocsp

    def trust(self, rules: PeerRules, announce: bool = False) -> None:
        """Whom we trust to vouch for a peer. A CA in the list is an anchor even when another one signed it.

        `announce` tells the peer (a client) their names, so that it can choose a certificate.
        """
        lib, crypto = self._lib, self._crypto
        store = lib.SSL_CTX_get_cert_store(self.pointer)
        if rules.ca is None:
            self.check(lib.SSL_CTX_set_default_verify_paths(self.pointer), "the system's roots")
        else:
            count = 0
            for certificate in self._certificates(rules.ca, "the trusted CA"):
                count += 1
                self.check(crypto.X509_STORE_add_cert(store, certificate), "the trusted CA")
                if announce:
                    lib.SSL_CTX_add_client_CA(self.pointer, certificate)
            if not count:
                raise TlsRefused("the trusted CA: no PEM certificate in it")
        flags = libssl.V_FLAG_PARTIAL_CHAIN
        for pem in rules.crls:
            found = list(self._lists(pem))
            if not found:
                raise TlsRefused("the revocation list: no PEM list in it")
            for crl in found:
                self.check(crypto.X509_STORE_add_crl(store, crl), "the revocation list")
            self.crls += found
            flags |= libssl.V_FLAG_CRL_CHECK
        crypto.X509_STORE_set_flags(store, flags)
        if rules.depth is not None:
            lib.SSL_CTX_set_verify_depth(self.pointer, rules.depth)

    def verify(self, mode: int, callback: Any) -> None:
        """Ask for the peer's certificate, and have `callback` judge it."""
        self._lib.SSL_CTX_set_verify(self.pointer, mode, self._ffi.NULL)
        self._lib.SSL_CTX_set_cert_verify_callback(self.pointer, callback, self._ffi.NULL)

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _ctrl(self, command: int, number: int, pointer: Any = None) -> int:
        done: int = self._lib.SSL_CTX_ctrl(self.pointer, command, number, self._ffi.NULL if pointer is None else pointer)
        return done

    def _without(self, version: Version) -> None:
        """No suite of `version` is allowed, so the version is not, either."""
        below = Version(version.value - 1)
        self.check(self._ctrl(libssl.CTRL_SET_MAX_PROTO_VERSION, below.value), "the highest version")

    def _known(self) -> dict[str, str]:
        """OpenSSL's name of every suite that this library has, by IANA's."""
        lib, crypto, ffi, text = self._lib, self._crypto, self._ffi, self._library.text
        spare = ffi.gc(lib.SSL_CTX_new(lib.TLS_server_method()), lib.SSL_CTX_free)
        lib.SSL_CTX_set_cipher_list(spare, b"ALL:COMPLEMENTOFALL:@SECLEVEL=0")
        lib.SSL_CTX_set_ciphersuites(spare, ":".join((*SUITES_1_3, *_RARE_1_3)).encode())
        listed = lib.SSL_CTX_get_ciphers(spare)
        suites = [ffi.cast("SSL_CIPHER *", crypto.OPENSSL_sk_value(listed, n)) for n in range(crypto.OPENSSL_sk_num(listed))]
        crypto.ERR_clear_error()
        return {text(lib.SSL_CIPHER_standard_name(suite)): text(lib.SSL_CIPHER_get_name(suite)) for suite in suites}

    def _source(self, pem: bytes) -> Any:
        source = self._crypto.BIO_new_mem_buf(self._ffi.from_buffer(pem), len(pem))
        self.check(source != self._ffi.NULL, "reading PEM")
        return self._ffi.gc(source, self._crypto.BIO_free)

    def _certificates(self, pem: bytes, what: str) -> Iterator[Any]:
        return self._read(pem, self._crypto.PEM_read_bio_X509, self._crypto.X509_free, what)

    def _lists(self, pem: bytes) -> Iterator[Any]:
        return self._read(pem, self._crypto.PEM_read_bio_X509_CRL, self._crypto.X509_CRL_free, "the revocation list")

    def _read(self, pem: bytes, read: Callable[..., Any], free: Any, what: str) -> Iterator[Any]:
        ffi = self._ffi
        source = self._source(pem)
        while True:
            found = read(source, ffi.NULL, ffi.NULL, b"")
            if found == ffi.NULL:
                code: int = self._crypto.ERR_get_error()
                self._crypto.ERR_clear_error()
                if code and code & 0x7fffff != _NO_START_LINE:
                    raise TlsRefused(f"{what} cannot be read: {self._library.text(self._crypto.ERR_reason_error_string(code))}")
                return
            yield ffi.gc(found, free)

    def _words(self) -> str:
        code: int = self._crypto.ERR_get_error()
        self._crypto.ERR_clear_error()
        return self._library.text(self._crypto.ERR_reason_error_string(code)) or "refused"


#: PEM_R_NO_START_LINE: there is no further object, which is how reading a list ends.
_NO_START_LINE: Final = 108
