"""The service: configuration, spool, store, workers, delivery, audit and the command line; the only place where the other rooms meet."""
