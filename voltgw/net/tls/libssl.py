"""OpenSSL 3 of the system, called through cffi: what we declare of it, and whether it is there.

The declarations are those of the manual pages (https://docs.openssl.org/3.0/man3/); macros of the headers are written out as
the `ctrl` calls that they stand for. Nothing here is chosen or decided.

cffi calls without a compiler (its ABI mode), unless there is a compiled build: in that, setup.py makes C of the same
declarations (the API mode), and a call costs half. Both look for the same libraries by the same names.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Final

import cffi  # type: ignore[import-untyped]

# SSL_get_error
ERROR_SSL: Final = 1
WANT_READ: Final = 2
WANT_WRITE: Final = 3
ERROR_SYSCALL: Final = 5
ZERO_RETURN: Final = 6

# SSL_CTX_set_options
NO_RENEGOTIATION: Final = 1 << 30
NO_COMPRESSION: Final = 1 << 17
IGNORE_UNEXPECTED_EOF: Final = 1 << 7
SERVER_PREFERENCE: Final = 1 << 22
PRIORITIZE_CHACHA: Final = 1 << 21

# BIO_test_flags: the socket has given its end
BIO_FLAGS_IN_EOF: Final = 0x800

# BIO_ctrl: what a memory BIO answers when it is empty
BIO_SET_MEM_EOF_RETURN: Final = 130

# SSL_CTX_ctrl and SSL_ctrl
CTRL_MODE: Final = 33
CTRL_CLEAR_MODE: Final = 78
CTRL_READ_AHEAD: Final = 41
CTRL_SESS_CACHE_MODE: Final = 44
CTRL_SET_TLSEXT_HOSTNAME: Final = 55
CTRL_STATUS_REQ_CB: Final = 63
CTRL_STATUS_REQ_OCSP_RESP: Final = 71
CTRL_SET_GROUPS_LIST: Final = 92
CTRL_SET_MIN_PROTO_VERSION: Final = 123
CTRL_SET_MAX_PROTO_VERSION: Final = 124

MODE_ENABLE_PARTIAL_WRITE: Final = 1
MODE_ACCEPT_MOVING_WRITE_BUFFER: Final = 2
MODE_AUTO_RETRY: Final = 4
MODE_RELEASE_BUFFERS: Final = 16
SESS_CACHE_OFF: Final = 0
SESS_CACHE_CLIENT: Final = 1
SESS_CACHE_NO_INTERNAL: Final = 0x300
VERIFY_NONE: Final = 0
VERIFY_PEER: Final = 1
VERIFY_FAIL_IF_NO_PEER_CERT: Final = 2
SHUTDOWN_BOTH: Final = 3
EXT_OK, EXT_ALERT_FATAL, EXT_NOACK = 0, 2, 3

# X509_verify_cert
V_OK: Final = 0
V_ERR_CERT_REVOKED: Final = 23
V_ERR_APPLICATION: Final = 50
V_FLAG_CRL_CHECK: Final = 0x4
V_FLAG_PARTIAL_CHAIN: Final = 0x80000

# ERR_GET_REASON
R_CERTIFICATE_VERIFY_FAILED: Final = 134
R_UNEXPECTED_EOF: Final = 294
R_ALERT_BASE: Final = 1000

#: What `dlopen` is asked for.
LIBSSL: Final = "libssl.so.3"
_LIBCRYPTO: Final = "libcrypto.so.3"
#: What setup.py makes of the declarations, in a compiled build.
COMPILED: Final = "voltgw.net.tls._openssl"
#: Calls after whose failure `SSL_get_error` is asked, which looks at the queue of errors: it must be empty before.
CLEARING: Final = ("SSL_accept", "SSL_connect", "SSL_read", "SSL_write", "SSL_shutdown")
#: A function begins its line, and nothing else does but types: setup.py reads them, too.
DECLARATIONS: Final = """
typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_method_st SSL_METHOD;
typedef struct ssl_session_st SSL_SESSION;
typedef struct ssl_cipher_st SSL_CIPHER;
typedef struct x509_st X509;
typedef struct X509_crl_st X509_CRL;
typedef struct x509_revoked_st X509_REVOKED;
typedef struct X509_name_st X509_NAME;
typedef struct x509_store_st X509_STORE;
typedef struct x509_store_ctx_st X509_STORE_CTX;
typedef struct evp_pkey_st EVP_PKEY;
typedef struct bio_st BIO;
typedef struct stack_st OPENSSL_STACK;
typedef struct evp_cipher_st EVP_CIPHER;
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
typedef struct evp_mac_ctx_st EVP_MAC_CTX;
typedef struct asn1_string_st ASN1_TIME;
typedef struct engine_st ENGINE;
typedef struct { const char *key; unsigned int data_type; void *data; size_t data_size; size_t return_size; } OSSL_PARAM;

const char *OpenSSL_version(int);
unsigned long OpenSSL_version_num(void);

void ERR_clear_error(void);
unsigned long ERR_get_error(void);
const char *ERR_reason_error_string(unsigned long);

const SSL_METHOD *TLS_server_method(void);
const SSL_METHOD *TLS_client_method(void);
SSL_CTX *SSL_CTX_new(const SSL_METHOD *);
void SSL_CTX_free(SSL_CTX *);
uint64_t SSL_CTX_set_options(SSL_CTX *, uint64_t);
long SSL_CTX_ctrl(SSL_CTX *, int, long, void *);
long SSL_CTX_callback_ctrl(SSL_CTX *, int, void *);
int SSL_CTX_set_cipher_list(SSL_CTX *, const char *);
int SSL_CTX_set_ciphersuites(SSL_CTX *, const char *);
OPENSSL_STACK *SSL_CTX_get_ciphers(const SSL_CTX *);
int SSL_CTX_use_cert_and_key(SSL_CTX *, X509 *, EVP_PKEY *, OPENSSL_STACK *, int);
int SSL_CTX_set_session_id_context(SSL_CTX *, const char *, unsigned int);
int SSL_CTX_set_alpn_protos(SSL_CTX *, const char *, unsigned int);
void SSL_CTX_set_alpn_select_cb(SSL_CTX *, int (*)(SSL *, const unsigned char **, unsigned char *, const unsigned char *,
    unsigned int, void *), void *);
void SSL_CTX_set_verify(SSL_CTX *, int, void *);
void SSL_CTX_set_verify_depth(SSL_CTX *, int);
void SSL_CTX_set_cert_verify_callback(SSL_CTX *, int (*)(X509_STORE_CTX *, void *), void *);
X509_STORE *SSL_CTX_get_cert_store(const SSL_CTX *);
int SSL_CTX_set_default_verify_paths(SSL_CTX *);
int SSL_CTX_add_client_CA(SSL_CTX *, X509 *);
int SSL_CTX_set_num_tickets(SSL_CTX *, size_t);
long SSL_CTX_set_timeout(SSL_CTX *, long);
void SSL_CTX_sess_set_new_cb(SSL_CTX *, int (*)(SSL *, SSL_SESSION *));
int SSL_CTX_set_tlsext_ticket_key_evp_cb(SSL_CTX *, int (*)(SSL *, unsigned char *, unsigned char *, EVP_CIPHER_CTX *,
    EVP_MAC_CTX *, int));
int SSL_get_ex_data_X509_STORE_CTX_idx(void);

SSL *SSL_new(SSL_CTX *);
void SSL_free(SSL *);
int SSL_set_fd(SSL *, int);
int SSL_accept(SSL *);
int SSL_connect(SSL *);
int SSL_read(SSL *, char *, int);
int SSL_write(SSL *, const char *, int);
int SSL_has_pending(const SSL *);
int SSL_shutdown(SSL *);
void SSL_set_shutdown(SSL *, int);
int SSL_get_error(const SSL *, int);
long SSL_ctrl(SSL *, int, long, void *);
int SSL_set_session(SSL *, SSL_SESSION *);
int SSL_session_reused(const SSL *);
void SSL_SESSION_free(SSL_SESSION *);
int SSL_SESSION_is_resumable(const SSL_SESSION *);
int SSL_SESSION_get_protocol_version(const SSL_SESSION *);
int SSL_version(const SSL *);
const char *SSL_get_version(const SSL *);
const char *SSL_get_servername(const SSL *, int);
const SSL_CIPHER *SSL_get_current_cipher(const SSL *);
const char *SSL_CIPHER_standard_name(const SSL_CIPHER *);
const char *SSL_CIPHER_get_name(const SSL_CIPHER *);
void SSL_get0_alpn_selected(const SSL *, const unsigned char **, unsigned int *);
X509 *SSL_get1_peer_certificate(const SSL *);
X509 *SSL_get_certificate(const SSL *);
OPENSSL_STACK *SSL_get_peer_cert_chain(const SSL *);
long SSL_get_verify_result(const SSL *);
const char *SSL_alert_desc_string_long(int);
BIO *SSL_get_rbio(const SSL *);
BIO *SSL_get_wbio(const SSL *);
void SSL_set0_rbio(SSL *, BIO *);

BIO *BIO_new_mem_buf(const char *, int);
BIO *BIO_new_socket(int, int);
long BIO_ctrl(BIO *, int, long, void *);
int BIO_free(BIO *);
uint64_t BIO_number_read(BIO *);
uint64_t BIO_number_written(BIO *);
X509 *PEM_read_bio_X509(BIO *, X509 **, void *, const char *);
X509_CRL *PEM_read_bio_X509_CRL(BIO *, X509_CRL **, void *, const char *);
EVP_PKEY *PEM_read_bio_PrivateKey(BIO *, EVP_PKEY **, void *, const char *);
void X509_free(X509 *);
void X509_CRL_free(X509_CRL *);
void EVP_PKEY_free(EVP_PKEY *);
int EVP_PKEY_get_base_id(const EVP_PKEY *);
int i2d_X509(X509 *, unsigned char **);
const ASN1_TIME *X509_get0_notAfter(const X509 *);
int X509_cmp_current_time(const ASN1_TIME *);
int X509_NAME_cmp(const X509_NAME *, const X509_NAME *);
X509_NAME *X509_get_issuer_name(const X509 *);
X509_NAME *X509_CRL_get_issuer(const X509_CRL *);
int X509_CRL_get0_by_cert(X509_CRL *, X509_REVOKED **, X509 *);
int X509_STORE_add_cert(X509_STORE *, X509 *);
int X509_STORE_add_crl(X509_STORE *, X509_CRL *);
int X509_STORE_set_flags(X509_STORE *, unsigned long);
int X509_verify_cert(X509_STORE_CTX *);
X509 *X509_STORE_CTX_get0_cert(const X509_STORE_CTX *);
OPENSSL_STACK *X509_STORE_CTX_get0_chain(const X509_STORE_CTX *);
void *X509_STORE_CTX_get_ex_data(const X509_STORE_CTX *, int);
void X509_STORE_CTX_set_error(X509_STORE_CTX *, int);
const char *X509_verify_cert_error_string(long);

OPENSSL_STACK *OPENSSL_sk_new_null(void);
int OPENSSL_sk_push(OPENSSL_STACK *, const void *);
int OPENSSL_sk_num(const OPENSSL_STACK *);
void *OPENSSL_sk_value(const OPENSSL_STACK *, int);
void OPENSSL_sk_free(OPENSSL_STACK *);

void *CRYPTO_malloc(size_t, const char *, int);
const EVP_CIPHER *EVP_aes_256_cbc(void);
int EVP_CipherInit_ex(EVP_CIPHER_CTX *, const EVP_CIPHER *, ENGINE *, const char *, const unsigned char *, int);
int RAND_bytes(unsigned char *, int);
int BIO_test_flags(const BIO *, int);
int EVP_MAC_CTX_set_params(EVP_MAC_CTX *, const OSSL_PARAM *);
"""


@dataclass(frozen=True, slots=True)
class Library:
    """The two shared libraries, and cffi's way to their types. `Any`: cffi makes them at run time.

    `clear` empties the queue of errors, before each of `CLEARING`; None: what was compiled does so itself.
    """

    ffi: Any
    ssl: Any
    crypto: Any
    version: str
    clear: Any

    def text(self, string: Any) -> str:
        """A C string; "" for NULL."""
        return "" if string == self.ffi.NULL else self.ffi.string(string).decode("utf-8", "replace")


@cache
def load() -> Library | None:
    """The system's OpenSSL 3, or None: it is not there, is another version, or the system forbids callbacks into Python.

    The answer is remembered for the life of the process, as the libraries themselves are.
    """
    try:
        ffi, crypto, ssl = _compiled() or _declared()
        if crypto.OpenSSL_version_num() >> 28 != 3:
            return None
        ffi.callback("int(int)", abs)           # MemoryError where memory may not be both written and executed
    except (OSError, MemoryError):
        return None
    said = ffi.string(crypto.OpenSSL_version(0)).decode("ascii")        # "OpenSSL 3.0.19 27 Jan 2026"
    return Library(ffi, ssl, crypto, said.removeprefix("OpenSSL ").split(" ")[0],
                   None if ssl is crypto else crypto.ERR_clear_error)


def _compiled() -> tuple[Any, Any, Any] | None:
    """Types, libcrypto and libssl by what was compiled; None if that was not, or does not find all that it needs."""
    try:
        binding = import_module(COMPILED)
    except ImportError:
        return None
    if binding.lib.voltgw_open():
        return None
    return binding.ffi, binding.lib, binding.lib


def _declared() -> tuple[Any, Any, Any]:
    """The same without a compiler. Raises OSError."""
    ffi = cffi.FFI()
    ffi.cdef(DECLARATIONS)
    return ffi, ffi.dlopen(_LIBCRYPTO), ffi.dlopen(LIBSSL)
