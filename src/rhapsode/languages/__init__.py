"""Made-up languages whose entropy is known exactly: what a model of them can learn at best, and whether it has.

from rhapsode.languages import Language, Sampler, nonsense
language = Language('<s> = a <s> b [0.4] | ""')
language.sentences(3, seed=1), language.belongs("a a b b"), language.entropy.per_token
"""

from rhapsode.languages.language import Entropy, Language, Sample, nonsense
from rhapsode.languages.sampler import Sampler

__all__ = ["Entropy", "Language", "Sample", "Sampler", "nonsense"]
