"""Two traces compared: alignment, equal work, fairness, noise, the gate."""
