"""What LEE and GenSR share: tokens, batched programs, constant fitting, canonical forms, sampling."""
