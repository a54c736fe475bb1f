"""HTTP and WebSocket in, JSON out: routes, schemas, problems, keys and what stands before them."""
