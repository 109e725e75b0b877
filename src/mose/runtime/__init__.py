"""The encoder as users run it: ONNX Runtime and a token table, no torch."""
