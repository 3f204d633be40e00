"""The package file of a .tflite: entropy-coded constants and a squeezed rest, back to the very same bytes."""
