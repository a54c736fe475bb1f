"""The process round the app: signals, certificates and the health check of its container."""
