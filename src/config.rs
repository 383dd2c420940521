//! Settings: defaults, a TOML file, `GRAPHKIN_*` variables, flags. The only reader of the environment.
