"""S3 and what speaks like it: object storage in a bucket, under a prefix.

What lives here: aiobotocore, and what differs between one S3 server and the next. What never does:
knowledge of what the bytes mean, or of files.
"""

from agenttrace_adapters.s3.storage import S3Storage

__all__ = ["S3Storage"]
