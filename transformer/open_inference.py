"""
Messages of the open inference protocol's ModelInfer, as far as they are read: their tensors in the form that JSON has.

The fields are those of the protocol's grpc_predict_v2.proto, in a descriptor pool of our own: KServe's generated
classes come only with the whole of its SDK, which parses the command line as it is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from transformer.tensors import decoded

_FIELDS: Final[Mapping[str, Mapping[str, tuple[int, str]]]] = {
    "Contents": {
        "bool_contents": (1, "bool*"),
        "int_contents": (2, "int32*"),
        "int64_contents": (3, "int64*"),
        "uint_contents": (4, "uint32*"),
        "uint64_contents": (5, "uint64*"),
        "fp32_contents": (6, "float*"),
        "fp64_contents": (7, "double*"),
        "bytes_contents": (8, "bytes*"),
    },
    "Tensor": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "int64*"),
        "contents": (5, "Contents"),
    },
    "Request": {"model_name": (1, "string"), "inputs": (5, "Tensor*"), "raw_input_contents": (7, "bytes*")},
    "Response": {"model_version": (2, "string"), "outputs": (5, "Tensor*"), "raw_output_contents": (6, "bytes*")},
}
"""message -> field -> its number and type, with * where it is repeated."""

_CONTENTS: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def _classes() -> dict[str, Any]:
    file = FileDescriptorProto(name="open_inference.proto", package="tidegauge", syntax="proto3")
    for message, fields in _FIELDS.items():
        of = file.message_type.add(name=message)
        for name, (number, written) in fields.items():
            kind = written.removesuffix("*")
            field = of.field.add(name=name, number=number)
            field.label = (
                FieldDescriptorProto.LABEL_OPTIONAL if kind == written else FieldDescriptorProto.LABEL_REPEATED
            )
            if kind in _FIELDS:
                field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".tidegauge.{kind}"
            else:
                field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"tidegauge.{name}")) for name in _FIELDS}


_CLASSES: Final = _classes()


def model_name(message: bytes) -> str | None:
    """
    Of a ModelInferRequest; None where it is none. Writers put the first field first: then nothing else is read.
    """
    if message[:1] == b"\x0a" and len(message) > 1 and message[1] < 0x80:
        name = message[2 : 2 + message[1]]
        return name.decode("utf-8", "replace") if len(name) == message[1] else None
    request = _parsed("Request", message)
    return None if request is None else str(request.model_name)


def input_tensors(message: bytes) -> list[dict[str, Any]] | str:
    """
    Of a ModelInferRequest: name, datatype, shape and data. Else one of parse.ISSUES: not_protobuf, binary_tensor.
    """
    request = _parsed("Request", message)
    if request is None:
        return "not_protobuf"
    tensors = _tensors(request.inputs, request.raw_input_contents)
    return "binary_tensor" if tensors is None else tensors


def answer_document(message: bytes) -> dict[str, Any] | str:
    """Of a ModelInferResponse: model_version, and outputs as tensors. Else one of parse.ISSUES."""
    response = _parsed("Response", message)
    if response is None:
        return "answer_not_protobuf"
    outputs = _tensors(response.outputs, response.raw_output_contents)
    if outputs is None:
        return "answer_binary_tensor"
    return {"model_version": response.model_version, "outputs": outputs}


def _parsed(kind: str, message: bytes) -> Any:
    try:
        return _CLASSES[kind].FromString(message)
    except DecodeError:
        return None


def _tensors(tensors: Iterable[Any], raw: Any) -> list[dict[str, Any]] | None:
    """raw: a tensor each, in their order, or none at all, with the data in the tensors' own contents."""
    read: list[dict[str, Any]] = [
        {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)} for tensor in tensors
    ]
    if raw and len(raw) != len(read):
        return None
    for position, (tensor, document) in enumerate(zip(tensors, read, strict=True)):
        data = decoded(document, raw[position]) if raw else _contents(tensor)
        if data is None:
            return None
        document["data"] = data
    return read


def _contents(tensor: Any) -> list[Any] | None:
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        return None
    values = list(getattr(tensor.contents, field))
    return [value.decode("utf-8", "replace") for value in values] if field == "bytes_contents" else values
