//! The Kubernetes API over HTTP: authentication, admission and registry rules over api and store.
