"""What an artifact costs on a device: counted under QEMU, estimated from the counts, or measured on a board."""
