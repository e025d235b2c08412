//! What only a real engine can show: that a spec arrives in the kernel as it was meant.
