"""StarGAN: one generator for many domains (Choi et al., CVPR 2018, arXiv:1711.09020).

x_BCHW images in [-1, 1]; c_BA labels, 0 or 1 per attribute, of the data set that the images are from.
Of several data sets (sec. 3.2) G is told all labels and a mask, see `LabelSet`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from i2i_core.batch import Batch
from i2i_core.config.methods.stargan import StarGANConfig
from i2i_core.errors import DataError, nearest
from i2i_core.fields import Schema
from i2i_core.labels import LabelKind, LabelSet
from i2i_core.losses.classification import attribute_bce, class_cross_entropy
from i2i_core.losses.reconstruction import l1
from i2i_core.methods.base import (
    Column,
    Direction,
    Method,
    Move,
    Needs,
    Objective,
    Player,
    Progress,
    moves,
)
from i2i_core.methods.controls import Labels
from i2i_core.methods.game import Game
from i2i_core.names import listed
from i2i_core.networks.init import init_default
from i2i_core.networks.stargan import StarGANDiscriminator, StarGANGenerator
from i2i_core.registry import implements


@implements("stargan")
class StarGAN(Method[StarGANConfig]):
    """Train G(x, c) to make x look as labelled c; D tells real from made, and predicts an image's label."""

    needs = Needs({"image": "image"}, attributes=True)
    inputs, outputs = {"image": "image"}, {"image": "image"}
    controls: ClassVar = {"target": Labels(several=True)}
    generators = ("G",)

    def __init__(self, config: StarGANConfig, generator: torch.Generator) -> None:
        super().__init__(config)
        k = config
        self.networks = nn.ModuleDict(
            {
                "G": StarGANGenerator(k.channels, k.g_labels, k.g_base, k.blocks, k.upsample),
                "D": StarGANDiscriminator(k.image_size, k.channels, k.c_dim, k.d_base, k.d_layers),
            }
        )
        for network in self.networks.values():
            init_default(network, generator)
        self.game = Game(k)
        clip = self.game.after_move(self.networks["D"])
        self.players = {"D": Player(("D",), self.game.move(k.d_lr), clip), "G": Player(("G",), self.game.move(k.g_lr))}

    @staticmethod
    def fit(config: StarGANConfig, schema: Schema, direction: Direction, *others: Schema) -> StarGANConfig:
        """Take channels, attributes and kind of label from the data, or from all data sets.

        Raises:
            DataError: an attribute that the data does not have; one class alone; of several data sets, channels that
                differ, or one attribute in two of them.
        """
        manifests = (schema, *others)
        known = [name for m in manifests for name in m.attributes]
        asked = [name for text in config.attributes for name in listed(text, known)]
        for name in asked:
            if name not in known:
                raise DataError("--attributes", repr(name), "an attribute of the data", nearest(name, known))
        chosen = [tuple(n for n in asked or m.attributes if n in m.attributes) for m in manifests]
        if others:
            _check_several(manifests, chosen)
        for m, names in zip(manifests, chosen, strict=True):
            if m.exclusive and len(names) < 2:
                others_ = [name for name in m.attributes if name not in names]
                fix = "Shard a folder for each class (--layout classes), two at least."
                if others_:
                    fix = f"Name another class with --attributes, such as {others_[0]}, or leave --attributes out."
                found = f"one class, {names[0]}" if names else "no class"
                raise DataError("--data", found, "two classes or more, to change images from one to another", fix)
        kinds: tuple[LabelKind, ...] = tuple("classes" if m.exclusive else "attributes" for m in manifests)
        return replace(
            config,
            channels=schema.fields["image"].channels,
            attributes=tuple(name for names in chosen for name in names),
            c_dim=sum(map(len, chosen)),
            columns=tuple(m.attributes.index(n) for m, names in zip(manifests, chosen, strict=True) for n in names),
            labels=kinds[0],
            sizes=tuple(map(len, chosen)) if others else (),
            kinds=kinds if others else (),
        )

    def labels(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Give the batch's own labels and target labels, both (n, A): the targets are the whole batch's labels
        permuted."""
        labels = batch.whole["labels"]  # one column at a time: a list as an index would stop the host
        c = torch.stack([labels[:, i] for i in self.config.sets[batch.source].columns], dim=1).to(batch.like)
        return batch.part(c), batch.part(c[batch.permutation("target")])

    def classification(self, logits: Tensor, c: Tensor, number: int = 0) -> Tensor:
        """-log D_cls(c | x) of the labels that data set `number` knows (sec. 3.2): the others' logits do not count."""
        known = self.config.sets[number]
        return (class_cross_entropy if known.exclusive else attribute_bce)(known.known(logits), c)

    @property
    def label_sets(self) -> tuple[LabelSet, ...]:
        """Give the label sets of the configuration."""
        return self.config.sets

    def channels(self) -> Mapping[str, int]:
        """Give the channels of the image, before and after."""
        return {"image": self.config.channels}

    def update(self, batches: Iterator[Batch], progress: Progress) -> Iterator[Move]:
        """Make n_critic moves of D, each on a fresh batch, then one of G on the last (sec. 5).

        Of several data sets every move of D is on the next one in turn, and after its n_critic-th move on a set G
        follows on that batch, before D goes on to the next set: D_A D_B ... D_A G_A D_B G_B.
        """
        G, n_critic = self.networks["G"], self.config.n_critic
        for iteration in range(1, n_critic + 1):
            for _ in self.config.sets:
                batch = next(batches)
                x, number = batch["image"], batch.source
                c, c_target = self.labels(batch)
                with torch.no_grad():
                    fake = G(x, self.config.sets[number].vector(c_target))
                yield "D", *self.discriminator_loss(x, c, fake, self.game.alpha(batch), number)
                if iteration == n_critic:
                    yield "G", *self.generator_loss(x, c, c_target, number)

    @moves("D")
    def discriminator_loss(
        self, x: Tensor, c: Tensor, fake: Tensor, alpha: Tensor | None, number: int = 0
    ) -> Objective:
        """Eq. 5: L_D = -L_adv + lambda_cls L_cls^r, with L_adv of Eq. 8 (WGAN-GP) or what `adversarial` names.

        Args:
            number: of the data set that x is from.
        """
        k, D = self.config, self.networks["D"]
        (real, logits), (made, _) = self.each("D", x, fake)
        l_real, l_fake = self.game.real(real), self.game.fake(made)
        gp = self.game.penalty(lambda x_hat: D(x_hat)[0], x, fake, alpha)
        l_cls_r = self.classification(logits, c, number)
        l_adv = -(l_real + l_fake) - k.lambda_gp * gp
        loss = -l_adv + k.lambda_cls * l_cls_r
        terms = {"real": l_real, "fake": l_fake, "cls_real": l_cls_r} | ({} if alpha is None else {"gp": gp})
        return loss, terms, self.game.scores([real], [made])

    @moves("G")
    def generator_loss(self, x: Tensor, c: Tensor, c_target: Tensor, number: int = 0) -> Objective:
        """Eq. 6: L_G = L_adv + lambda_cls L_cls^f + lambda_rec L_rec (Eq. 3, 4; L_adv's part that G moves);
        and + lambda_id L_id where that is asked for.

        Args:
            number: of the data set that x is from.
        """
        k, G, D = self.config, self.networks["G"], self.networks["D"]
        own, target = (self.config.sets[number].vector(label) for label in (c, c_target))
        fake = G(x, target)
        source, logits = D(fake)
        l_adv = self.game.generator(source)
        l_cls_f = self.classification(logits, c_target, number)
        l_rec = l1(G(fake, own), x)
        loss = l_adv + k.lambda_cls * l_cls_f + k.lambda_rec * l_rec
        terms = {"adv": l_adv, "cls_fake": l_cls_f, "rec": l_rec}
        if k.lambda_id:
            l_id = l1(G(x, own), x)
            loss, terms = loss + k.lambda_id * l_id, {**terms, "id": l_id}
        return loss, terms

    def module(self, direction: Direction = "AtoB") -> nn.Module:
        """Give G(x, c), where c is the control `target`: attributes, a tensor (n, A) of 0 and 1.

        With several data sets c is the vector (n, A + M) of all labels and the mask, which `config.sets[number].vector`
        makes.
        """
        return self.networks["G"]

    def preview(self, batch: Batch) -> dict[str, Column]:
        """Show the source, then one column per attribute: switched over, or set where classes exclude each other; an
        attribute of another data set than the source's alone."""
        x, (c, _) = batch["image"], self.labels(batch)
        columns: dict[str, Column] = {"source": "image"}
        for number, known in enumerate(self.config.sets):
            switched = number == batch.source and not known.exclusive
            for i, name in enumerate(known.titles):
                target = c.clone() if switched else c.new_zeros(len(c), len(known.columns))
                target[:, i] = 1 - target[:, i]
                columns[name] = self.image_from(x, target=known.vector(target))
        return columns


def _check_several(manifests: Sequence[Schema], chosen: Sequence[tuple[str, ...]]) -> None:
    """Raise DataError unless every data set has attributes, the same channels, and names that no other has."""
    channels = [m.fields["image"].channels for m in manifests]
    owner: dict[str, int] = {}
    for i, names in enumerate(chosen):
        if channels[i] != channels[0]:
            found, expected = f"{channels[i]} channels", f"{channels[0]}, as {_named(0)} has"
            raise DataError(_named(i), found, expected, f"Shard it again with `--channels {channels[0]}`.")
        if not names:
            fix = f"Name some of {', '.join(manifests[i].attributes)}, or leave the data set out."
            raise DataError("--attributes", f"none of {_named(i)}", "attributes of every data set", fix)
        for name in names:
            if name in owner:
                found = f"{name!r} in {_named(owner[name])} and in {_named(i)}"
                fix = (
                    "Name others with --attributes; or shard one of them again with another name for it "
                    "(--layout classes: the folder's), or without it (--layout celeba: --attributes)."
                )
                raise DataError("--also", found, "attributes with a name of their own in each data set", fix)
            owner[name] = i


def _named(number: int) -> str:
    """Name a data set as the command line has it."""
    return f"number {number} of --also" if number else "--data"
