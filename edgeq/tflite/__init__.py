"""TFLite: read, write, and lower QDQ ONNX to it."""
