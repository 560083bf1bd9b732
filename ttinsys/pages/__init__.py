"""One page that tells what traces say: self-contained, offline, safe to open whoever the trace is from."""
