//! HTTPS and WebSocket on one port, and the workload API.
