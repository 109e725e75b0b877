"""Tables of pairs: parquet and Arrow files as rows, and rows on the disk that are read one by one."""
