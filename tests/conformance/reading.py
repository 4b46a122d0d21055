from tmpdecode import decode_cluster as read_cluster  # TEMPORARY
__all__ = ["read_cluster"]
