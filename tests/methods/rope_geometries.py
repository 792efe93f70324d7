"""Geometries, and frequencies of plain RoPE over them."""

from ropewalk.core.geometry import RopeGeometry

GEOMETRIES = [
    RopeGeometry(head_dim=64, rope_theta=1e4, trained_length=256),
    RopeGeometry(head_dim=128, rope_theta=5e5, trained_length=8192),
    RopeGeometry(head_dim=96, rope_theta=1e4, trained_length=2048, partial_rotary_factor=0.25),
]
