#!/usr/bin/env python3
"""Writes tests/golden/text/parquet: the same rows by every compression, encoding, type and layout that pyarrow writes, and files
that are to be refused. pyarrow 26.0.1, no seed. rows.jsonl holds the rows; refused.json what each other file is refused for."""
import json
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as encryption

OUT = pathlib.Path(__file__).resolve().parent.parent / "golden/text/parquet"
ROWS = ["One row.", "", "Zwei Zeilen:\nclose to caf\u00e9.\n", "\u6f22\u5b57 \U0001f600", " ", "One row.", "<|endoftext|>", "x" * 300, "",
        "last\n\n"]
IDS = list(range(len(ROWS)))


def write(name, table, **options):
    pq.write_table(table, OUT / f"{name}.parquet", **options)


def table(kind=None, **more):
    text = pa.array(ROWS, pa.string()) if kind is None else pa.array(ROWS, kind)
    return pa.table({"id": IDS, "text": text, "url": ["u"] * len(ROWS), **more})


class Keys(encryption.KmsClient):
    """Keys in the clear: what is encrypted here holds no secret."""
    def __init__(self, _):
        super().__init__()

    def wrap_key(self, key, _):
        return key.hex()

    def unwrap_key(self, wrapped, _):
        return bytes.fromhex(wrapped)


def write_encrypted(name, plaintext_footer):
    factory = encryption.CryptoFactory(Keys)
    config = encryption.EncryptionConfiguration(footer_key="f", column_keys={"c": ["text"]}, plaintext_footer=plaintext_footer)
    properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), config)
    with pq.ParquetWriter(OUT / f"{name}.parquet", table().schema, encryption_properties=properties) as writer:
        writer.write_table(table())


def good():
    for compression in ("none", "snappy", "gzip", "brotli", "lz4", "zstd"):
        for version in ("1.0", "2.0"):
            write(f"good_{compression}_v{version[0]}", table(), compression=compression, data_page_version=version, row_group_size=4)
    write("good_plain", table(), use_dictionary=False, write_page_checksum=True)
    for encoding in ("DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"):
        write(f"good_{encoding.lower()}", table(), use_dictionary=False, column_encoding={"text": encoding})
    write("good_large_string", table(pa.large_string()))
    write("good_string_view", table(pa.string_view()))
    write("good_binary", table(pa.binary()), store_schema=False)
    write("good_dictionary", table().set_column(1, "text", pa.array(ROWS).dictionary_encode()))
    required = pa.schema([("id", pa.int64()), pa.field("text", pa.string(), nullable=False), ("url", pa.string())])
    write("good_required", table().cast(required))
    write("good_group_a_row", table(), row_group_size=1)
    with pq.ParquetWriter(OUT / "good_empty_group.parquet", table().schema) as writer:
        for begin, end in ((0, 0), (0, 3), (3, 3), (3, len(ROWS)), (0, 0)):
            writer.write_table(table()[begin:end])
    write("good_tiny_pages", table(), data_page_size=1, use_dictionary=False, write_batch_size=1)
    write("good_nested_beside", table(
        more=pa.array([[{"text": r}] for r in ROWS]), meta=pa.array([{"text": r, "n": i} for i, r in enumerate(ROWS)])))
    # Where text is null, content is read: of two rows here, with others between them.
    other = [None if i in (2, 7) else r for i, r in enumerate(ROWS)]
    write("good_two_columns", pa.table({"content": [r if i in (2, 7) else "no" for i, r in enumerate(ROWS)], "text": other}),
          row_group_size=5, data_page_size=8)
    write("good_content", table().rename_columns(["id", "content", "url"]))


def refused():
    reasons = {}

    def refuse(name, reason, *arguments, **options):
        reasons[name] = reason
        if arguments:
            write(name, *arguments, **options)

    refuse("encrypted", "is encrypted; write it without encryption")
    write_encrypted("encrypted", False)
    refuse("encrypted_column", "its text is encrypted")
    write_encrypted("encrypted_column", True)
    refuse("null", "null.parquet, row 3 has no string \"text\": null", pa.table({"text": ["a", "b", None, "d"]}))
    refuse("no_text", "has no column of strings \"text\" or \"content\"; name one of its columns: body, title",
           pa.table({"body": ["a"], "n": [1], "title": ["b"]}))
    refuse("no_strings", "none of its columns holds strings", pa.table({"text": [1, 2]}))
    refuse("list", "none of its columns holds strings", pa.table({"text": [["a"], ["b"]]}))
    refuse("struct", "none of its columns holds strings", pa.table({"text": [{"text": "a"}]}))
    refuse("fixed_size", "none of its columns holds strings", pa.table({"text": pa.array([b"ab", b"cd"], pa.binary(2))}))
    refuse("no_rows", "holds no text", pa.table({"text": pa.array([], pa.string())}))
    refuse("no_columns", "none of its columns holds strings", pa.table({}))
    refuse("empty_rows", "holds no text", pa.table({"text": ["", ""]}))
    refuse("not_utf8", "not_utf8.parquet, row 2 is no text: it is not UTF-8", pa.table({"text": pa.array([b"a", b"caf\xe9"], pa.binary())}))
    (OUT / "refused.json").write_text(json.dumps(reasons, indent=1) + "\n")


OUT.mkdir(parents=True, exist_ok=True)
for old in OUT.iterdir():
    old.unlink()
with open(OUT / "rows.jsonl", "w") as out:
    out.writelines(json.dumps({"text": r}) + "\n" for r in ROWS)
good()
refused()
