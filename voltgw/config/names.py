"""How references to other objects are read."""

from __future__ import annotations

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from voltgw.config.formats import OBJECT_NAME
from voltgw.config.origin import describe, is_null
from voltgw.config.reader import MISSING, Missing, Reader
from voltgw.config.suggest import did_you_mean
from voltgw.config.types import Schema, Type
from voltgw.config.values import Ref


class Reference(Type[Ref, None]):
    """The name of another object: ``x``, ``ns/x`` or ``{namespace: ns, name: x}``; a list of one is taken as well."""

    default = None

    def __init__(self, *kinds: str) -> None:
        self.kinds = kinds
        self.words = f"the name of a {' or '.join(kinds)}"

    def read(self, node: Node, reader: Reader) -> Ref | Missing:
        if isinstance(node, SequenceNode) and len(node.value) == 1:
            node = node.value[0]
        if isinstance(node, ScalarNode):
            text = self.scalar(node, reader)
            if text is MISSING:
                return MISSING
            namespace, slash, name = text.rpartition("/")
            return self._made(node, reader, namespace if slash else None, name, None)
        if not isinstance(node, MappingNode):
            return reader.wrong(node, "VG0102", f"expected {self.words}, found {describe(node)}")
        found: dict[str, tuple[Node, str]] = {}
        unknown = False
        for key, value in node.value:
            field = key.value if isinstance(key, ScalarNode) else ""
            if field not in ("name", "namespace", "tenant", "kind", "uid"):
                unknown = True
                reader.wrong(key, "VG0101", f"unknown field {describe(key)} in a reference",
                             did_you_mean(field, ("name", "namespace", "tenant", "kind", "uid")))
            elif field in found:
                reader.wrong(key, "VG0005", f'"{field}" stands here twice')
            elif not is_null(value):
                text = self.scalar(value, reader)
                if text is MISSING:
                    return MISSING
                found[field] = (value, text)
        if "name" not in found:
            return MISSING if unknown else reader.wrong(node, "VG0105", "a reference needs a name")
        if "kind" in found and found["kind"][1] and self.kinds and not self._fits(found["kind"][1]):
            return reader.wrong(found["kind"][0], "VG0104", f'this must refer to a {" or ".join(self.kinds)}, not a '
                                f'"{found["kind"][1]}"')
        value, name = found["name"]
        space = found["namespace"][1] if "namespace" in found else ""
        return self._made(value, reader, space or None, name, found["tenant"][1] if "tenant" in found else None)

    def _fits(self, kind: str) -> bool:
        """Files write the kind as ``cluster`` or as ``ves.io.schema.cluster.Object``."""
        return any(part in self.kinds for part in kind.split("."))

    def _made(self, node: Node, reader: Reader, namespace: str | None, name: str, tenant: str | None) -> Ref | Missing:
        try:
            namespace = None if namespace is None else OBJECT_NAME.read(namespace)
            name = OBJECT_NAME.read(name)
        except ValueError as error:
            return reader.wrong(node, "VG0110", str(error))
        if reader.origin is None:
            return Ref(namespace, name, reader.place(node), tenant or None)
        return Ref.inside(reader.origin, reader.at(node), namespace, name, tenant or None)

    def schema(self, definitions: dict[str, Schema]) -> Schema:
        one: Schema = {"$ref": "#/$defs/Ref"}
        definitions.setdefault("Ref", {"anyOf": [
            {"type": "string", "description": "name, or namespace/name"},
            {"type": "object", "additionalProperties": False, "required": ["name"], "properties": {
                name: {"type": ["string", "null"]} for name in ("name", "namespace", "tenant", "kind", "uid")}},
        ]})
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": 1}]}

    def plain(self, value: Ref) -> object:
        tenant = {"tenant": value.tenant} if value.tenant else {}
        namespace = {"namespace": value.namespace} if value.namespace else {}
        return {**tenant, **namespace, "name": value.name}
