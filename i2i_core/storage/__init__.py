"""Read and write files on local disks and object storage, with one clock of patience."""
