"""Holds a finished module against ONNX's own definition of its model."""
