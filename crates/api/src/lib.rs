//! Kubernetes objects as data: one schema table, codecs, defaults, strict decoding, validation, patches, tables. Pure.
