"""Tables that analyses ask for, of one trace or stacked for several."""
