"""Files on local disks and object storage, with one clock of patience."""
