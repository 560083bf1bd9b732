"""Two traces compared: alignment, fairness, noise, the gate."""
