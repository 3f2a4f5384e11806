//! Jobs: lease, heartbeat, retry, dead letter; embedded and Redis.
