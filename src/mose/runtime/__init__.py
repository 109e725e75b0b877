"""Run an exported model on ONNX Runtime and numpy, without torch."""
