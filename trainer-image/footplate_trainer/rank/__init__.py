"""One rank's place in its gang: who it is, what it says, when it stops. `program` is its whole story."""
