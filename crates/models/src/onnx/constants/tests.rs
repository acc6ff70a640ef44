//! Folds against numbers from the ONNX specification.
