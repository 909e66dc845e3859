"""PointNet++, VoteNet and their parts."""
