"""What has to be done now and then: rescue after a crash, housekeeping, and pruning."""
