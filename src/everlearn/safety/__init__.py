"""Safety: lessons that would do harm are held back; texts are screened for personal data and harm, by a policy."""
