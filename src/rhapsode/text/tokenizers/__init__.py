"""The kinds of tokenizer, one file each.

To add a kind: write its file after `base.Tokenizer`, and name it in `rhapsode.text.tokenizer` and in
`CorpusConfig.tokenizer`; the codec law in tests/properties then runs over it.
"""
