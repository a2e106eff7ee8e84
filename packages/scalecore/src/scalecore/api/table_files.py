"""Read table files, with error messages that name file, row and column, for datasets that read files themselves."""

from scalecore.data.table_files import PACKED, check_header, date_hint, kind_of, number_of, read_text

__all__ = ["PACKED", "check_header", "date_hint", "kind_of", "number_of", "read_text"]
