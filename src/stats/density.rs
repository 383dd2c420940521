//! One-class densities: how far a vector of statistics lies from those of the normal class.
