"""What requests may say and what answers look like; marshmallow checks the former, the document shows both."""
