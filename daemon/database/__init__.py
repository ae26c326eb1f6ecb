"""What the store is made of: one SQL database of instances, series, jobs and the outbox, shared by several processes."""
