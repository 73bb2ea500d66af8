"""The vocabulary every room shares: `names` says what may be called what, `views` what a person can be told,
`buffer` what holds bytes."""
