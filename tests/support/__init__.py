"""What several tests use: fakes, rooms with a session in them, servers, programs that tests start."""
