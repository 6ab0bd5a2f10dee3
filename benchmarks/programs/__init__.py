"""The programs that ours is measured against, each started as a process of its own."""
