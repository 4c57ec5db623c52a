"""A client of Rillway's management channel in a few lines, for other languages than Rust: docs/management.md.

    python client.py HOST:PORT ca.pem me.pem me.key VERB [SECONDS]

asks a verb without fields (`status`, `workers`, `rooms`, `plugins`, `config`), or watches `events` for some seconds,
and prints each part of the answer as a line of JSON. It wants aioquic and protobuf, and the module that protoc makes:

    protoc --python_out=. rillway.management.v1.proto
"""

import asyncio
import importlib
import ssl
import sys

from aioquic.asyncio import connect
from aioquic.quic.configuration import QuicConfiguration
from google.protobuf.json_format import MessageToJson

schema = importlib.import_module("rillway.management.v1_pb2")


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


async def message(reader, kind):
    """The next message of a stream: a length as a varint, then so many bytes."""
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    return kind.FromString(await reader.readexactly(length))


async def call(client, verb):
    """The parts of the answer to a verb, up to its end."""
    request = schema.Request()
    getattr(request, verb).SetInParent()
    data = request.SerializeToString()
    reader, writer = await client.create_stream()
    writer.write(varint(len(data)) + data)
    writer.write_eof()
    while True:
        response = await message(reader, schema.Response)
        part = response.WhichOneof("part")
        if part == "end":
            return
        if part == "error":
            code = schema.Error.Code.Name(response.error.code)
            raise SystemExit(f"{code}: {response.error.message}")
        # A part of a newer router is None: it is not for us.
        if part is not None:
            yield getattr(response, part)


async def main(address, authority, certificate, key, verb, seconds=None):
    host, port = address.rsplit(":", 1)
    configuration = QuicConfiguration(alpn_protocols=["rillway-mgmt/1"], is_client=True)
    configuration.verify_mode = ssl.CERT_REQUIRED
    configuration.load_verify_locations(authority)
    configuration.load_cert_chain(certificate, key)

    async def show(client):
        async for part in call(client, verb):
            print(MessageToJson(part, indent=None, preserving_proto_field_name=True), flush=True)

    async with connect(host, int(port), configuration=configuration) as client:
        try:
            await asyncio.wait_for(show(client), float(seconds) if seconds else None)
        except asyncio.TimeoutError:
            pass


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
