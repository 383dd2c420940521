//! What candle lacks or gets wrong: seeded initialisation, stable losses, message-passing layers, Adam with a state.
