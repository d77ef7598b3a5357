//! The Service proxy: watch, model, ruleset value, diff, kernel.
