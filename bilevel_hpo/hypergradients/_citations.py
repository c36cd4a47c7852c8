"""BibTeX entries of the methods, and the bibliography made from them.

An estimator holds its full entries in `references`, so an estimator of another package brings its own.
"""

import re
from collections.abc import Iterable

__all__ = ["bibliography"]


def bibliography(references: Iterable[str]) -> str:
    """Returns the entry of this package and the BibTeX entries of `references` in order, each key once.

    Raises:
        TypeError: `references` is one string.
        ValueError: a string has no entry `@type{key, …}`.
    """
    if isinstance(references, str):
        raise TypeError(f"references must be a tuple of BibTeX entries; got a string, {references[:60]!r}")
    by_key: dict[str, str] = {}
    for text in (BILEVEL_HPO, *references):
        found = [entry.strip() for entry in re.split(r"(?m)^\s*(?=@)", text) if entry.strip()]
        for entry in found or [text]:
            key = re.match(r"@\w+\s*\{\s*([^\s,{}]+)\s*,", entry)
            if key is None:
                raise ValueError(f"references must be BibTeX entries, @type{{key, …}}; got {entry[:60]!r}")
            by_key.setdefault(key[1], entry)
    return "\n\n".join(by_key.values())


BILEVEL_HPO = """@software{bilevel_hpo,
  title = {bilevel-hpo: loss weights learned by hypergradient in one training},
  year  = {2026}
}"""

GATE_BILEVEL = """@misc{gate_bilevel,
  title = {Scalable Multi-Task Transfer Learning for Molecular Property Prediction},
  year  = {2024},
  note  = {Algorithm 3}
}"""

DARTS = """@inproceedings{liu2019darts,
  title     = {{DARTS}: Differentiable Architecture Search},
  author    = {Liu, Hanxiao and Simonyan, Karen and Yang, Yiming},
  booktitle = {International Conference on Learning Representations},
  year      = {2019}
}"""

MACLAURIN2015 = """@inproceedings{maclaurin2015gradient,
  title     = {Gradient-based Hyperparameter Optimization through Reversible Learning},
  author    = {Maclaurin, Dougal and Duvenaud, David and Adams, Ryan P.},
  booktitle = {International Conference on Machine Learning},
  year      = {2015}
}"""

FRANCESCHI2017 = """@inproceedings{franceschi2017forward,
  title     = {Forward and Reverse Gradient-Based Hyperparameter Optimization},
  author    = {Franceschi, Luca and Donini, Michele and Frasconi, Paolo and Pontil, Massimiliano},
  booktitle = {International Conference on Machine Learning},
  year      = {2017}
}"""

SHABAN2019 = """@inproceedings{shaban2019truncated,
  title     = {Truncated Back-propagation for Bilevel Optimization},
  author    = {Shaban, Amirreza and Cheng, Ching-An and Hatch, Nathan and Boots, Byron},
  booktitle = {International Conference on Artificial Intelligence and Statistics},
  year      = {2019}
}"""

HIGHER = """@article{grefenstette2019generalized,
  title   = {Generalized Inner Loop Meta-Learning},
  author  = {Grefenstette, Edward and Amos, Brandon and Yarats, Denis and Htut, Phu Mon and Molchanov, Artem and
             Meier, Franziska and Kiela, Douwe and Cho, Kyunghyun and Chintala, Soumith},
  journal = {arXiv preprint arXiv:1910.01727},
  year    = {2019}
}"""

LORRAINE2020 = """@inproceedings{lorraine2020optimizing,
  title     = {Optimizing Millions of Hyperparameters by Implicit Differentiation},
  author    = {Lorraine, Jonathan and Vicol, Paul and Duvenaud, David},
  booktitle = {International Conference on Artificial Intelligence and Statistics},
  year      = {2020}
}"""

PEDREGOSA2016 = """@inproceedings{pedregosa2016hyperparameter,
  title     = {Hyperparameter optimization with approximate gradient},
  author    = {Pedregosa, Fabian},
  booktitle = {International Conference on Machine Learning},
  year      = {2016}
}"""

RAJESWARAN2019 = """@inproceedings{rajeswaran2019meta,
  title     = {Meta-Learning with Implicit Gradients},
  author    = {Rajeswaran, Aravind and Finn, Chelsea and Kakade, Sham M. and Levine, Sergey},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2019}
}"""

HATAYA2023 = """@inproceedings{hataya2023nystrom,
  title     = {Nystr{\\"o}m Method for Accurate and Scalable Implicit Differentiation},
  author    = {Hataya, Ryuichiro and Yamada, Makoto},
  booktitle = {International Conference on Artificial Intelligence and Statistics},
  year      = {2023}
}"""

FRANGELLA2023 = """@article{frangella2023randomized,
  title   = {Randomized Nystr{\\"o}m Preconditioning},
  author  = {Frangella, Zachary and Tropp, Joel A. and Udell, Madeleine},
  journal = {SIAM Journal on Matrix Analysis and Applications},
  volume  = {44},
  number  = {2},
  year    = {2023}
}"""
