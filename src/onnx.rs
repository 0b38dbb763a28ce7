//! ONNX: reading weights and graphs, writing graphs.
