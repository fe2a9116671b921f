"""The champion: which trained generator is in use, in MLflow's model registry, alias ``champion``.

A registered version carries tags that lead back to git, which is the record: ``report_commit`` (the commit whose
``reports/<preset>`` measured it) and ``generator_sha256``. Setting the alias is the one act that promotes; everything
before it changes nothing for anybody.

A version that was ever promoted counts for ever, also after it lost the alias: it keeps the tag ``promoted``. The tag
``best`` of a promoted version says which versions were still better than it when it was promoted (JSON, "corpus/metric"
→ version), so that the newest promoted version leads to the best one in every metric. A version counts no more when
somebody takes both its alias and its tag ``promoted`` away.

A version is a model that ``mlflow.pyfunc.load_model("models:/s3dnerf-<preset>@champion")`` loads and that makes videos
(``flows/model_package.py``). Of versions that were registered before it was so, only the weights and the card are kept;
they are read here as the others are.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.mlflow_client import MlflowError, TrackingClient
from flows.mlflow_runs import FAILED, GOOD, PROCESS, end_forgotten, process_tag
from flows.model_package import SYNTHETIC, ModelPackage
from s3dnerf.video.packs import file_sha256

logger = logging.getLogger(__name__)

ALIAS = "champion"
PROMOTED, BEST = "promoted", "best"  # tags of a version
NETWORK = ("generator.safetensors", "card.json")


class PromotionUnclear(MlflowError):
    """MLflow was lost at the very act of promoting."""


@dataclass(frozen=True)
class Champion:
    """A registered version of a preset's generator."""

    version: str
    report_commit: str
    generator_sha256: str


@dataclass(frozen=True)
class History:
    """The versions that were ever promoted.

    Attributes
    ----------
    versions : tuple of Champion
        Oldest first.
    best : dict
        "corpus/metric" → the version that was the best when the newest was promoted. What is not named: the newest.
    """

    versions: tuple[Champion, ...] = ()
    best: Mapping[str, str] | None = None

    def best_of(self, key: str) -> str:
        """The number of the version that is the best in "corpus/metric"."""
        return (self.best or {}).get(key) or self.versions[-1].version


class Registry:
    """The registered models of one preset. ``uri``: an MLflow server, or ``sqlite:///…/mlflow.db``. Every method may
    raise MlflowError.
    """

    def __init__(self, preset: str, uri: str) -> None:
        self.tracking, self.name, self.preset = TrackingClient(uri), f"s3dnerf-{preset}", preset

    def champion(self) -> Champion | None:
        """The version that carries the alias, or None before the first. Raises MlflowError also for a version without
        its tags.
        """
        try:
            with self.tracking.asked():
                aliases = self.tracking.client.get_registered_model(self.name).aliases
        except MlflowError as error:
            if error.code == "RESOURCE_DOES_NOT_EXIST":  # nothing of this preset was ever registered
                return None
            raise
        if ALIAS not in aliases:
            return None
        with self.tracking.asked():
            version = self.tracking.client.get_model_version(self.name, aliases[ALIAS])
        return self._read(version, f"carries the alias {ALIAS}")

    def _read(self, version: Any, what: str) -> Champion:
        """A version of MLflow's. Raises MlflowError for one without its tags."""
        try:
            return Champion(str(version.version), version.tags["report_commit"], version.tags["generator_sha256"])
        except KeyError as tag:
            said = f"{self.name} version {version.version} {what} and no tag {tag}: expected one that retraining"
            raise MlflowError(f"{said} registered; give the alias to such a version, or take it away") from None

    def history(self, champion: Champion | None) -> History:
        """The versions that were ever promoted: those with the tag, and the champion, which may have lost it."""
        with self.tracking.asked():
            found = self.tracking.client.search_model_versions(f"name = '{self.name}'")
        ever = [v for v in found if PROMOTED in v.tags or (champion and str(v.version) == champion.version)]
        ever.sort(key=lambda version: int(version.version))
        if not ever:
            return History()
        try:
            best = json.loads(ever[-1].tags.get(BEST, "{}"))
        except ValueError as error:
            raise MlflowError(
                f"{self.name} version {ever[-1].version}: its tag {BEST} is not JSON ({error}): expected what "
                "retraining wrote; take the tag away"
            ) from None
        versions = tuple(self._read(version, f"carries the tag {PROMOTED}") for version in ever)
        known = {version.version for version in versions}
        return History(versions, {key: version for key, version in best.items() if version in known})

    def fetch(self, version: Champion, folder: Path) -> None:
        """Put a version's generator.safetensors and card.json into a folder, which is made.

        Raises MlflowError where they are not to be had, or where the generator has other bytes than were registered.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with self.tracking.asked(), tempfile.TemporaryDirectory() as scratch:
            from mlflow.artifacts import download_artifacts

            source = self.tracking.client.get_model_version(self.name, version.version).source
            got = Path(download_artifacts(artifact_uri=source, dst_path=scratch, tracking_uri=self.tracking.uri))
            for name in NETWORK:
                found = sorted(got.rglob(name))
                if not found:
                    raise MlflowError(
                        f"{self.name} version {version.version}: no {name} in {source}, where it is expected"
                    )
                shutil.copyfile(found[0], folder / name)
        sha256 = file_sha256(folder / NETWORK[0])
        if sha256 != version.generator_sha256:
            raise MlflowError(
                f"{self.name} version {version.version}: its generator in {source} has the sha256 {sha256[:12]}…, "
                f"expected {version.generator_sha256[:12]}… as registered"
            )

    def kept_out(self, generator_sha256: str, how: str) -> str | None:
        """The version of this generator that was judged ``how`` and not promoted, or None."""
        found = self._of_generator(generator_sha256)
        return next((str(version.version) for version in found if version.tags.get("kept_out") == how), None)

    def of_generator(self, generator_sha256: str) -> Champion | None:
        """A version with this generator, promoted or not, or None."""
        found = self._of_generator(generator_sha256)
        return self._read(found[0], "has this generator") if found else None

    def _of_generator(self, generator_sha256: str) -> list[Any]:
        with self.tracking.asked():
            return list(
                self.tracking.client.search_model_versions(
                    f"name = '{self.name}' and tags.generator_sha256 = '{generator_sha256}'"
                )
            )

    def register(
        self, model: Path, report_commit: str, described: str, kept_out: str = "", root: Path = Path()
    ) -> Champion:
        """Register a generator's folder (generator.safetensors, card.json) as a new version that nobody uses yet.

        ``kept_out``: how it was judged when it is not to be promoted; empty for one that is (a run killed before that
        is made up for). ``root``: the project's folder, which the card's paths of weights are relative to.

        Raises PackageError, before anything is registered, where a file that the model needs is missing.
        """
        package, sha256 = ModelPackage.of(model, root), file_sha256(model / "generator.safetensors")
        client, experiment = self.tracking.client, self.tracking.experiment(f"{self.preset} retrain")
        end_forgotten(self.tracking, experiment)
        tags = {"report_commit": report_commit, "generator_sha256": sha256, "kept_out": kept_out}
        own = {"preset": self.preset, "mlflow.source.git.commit": report_commit, PROCESS: process_tag()}
        with self.tracking.asked():
            run = client.create_run(experiment, run_name=f"retrain {report_commit[:12]}", tags=tags | own)
        try:
            logged = self._log_model(package, experiment, run.info.run_id, tags)
        except BaseException:
            with self.tracking.asked():
                client.set_terminated(run.info.run_id, FAILED)
            raise
        with self.tracking.asked():
            client.set_terminated(run.info.run_id, GOOD)
        try:
            with self.tracking.asked():
                client.create_registered_model(self.name, description=f"S³D-NeRF generators. {SYNTHETIC}")
        except MlflowError as error:
            if error.code != "RESOURCE_ALREADY_EXISTS":
                raise
        with self.tracking.asked():
            version = client.create_model_version(
                self.name,
                logged.artifact_location,
                run.info.run_id,
                tags=tags,
                description=described,
                model_id=logged.model_id,
            )
            # a server says on the model's page which version it is; beside a database nobody does
            versions = json.dumps([{"name": self.name, "version": str(version.version)}])
            client.set_logged_model_tags(logged.model_id, {"mlflow.modelVersions": versions})
        return Champion(str(version.version), report_commit, sha256)

    def _log_model(self, package: ModelPackage, experiment: str, run: str, tags: dict[str, str]) -> Any:
        """Write a model, and keep it with a run. Returns MLflow's LoggedModel. Raises MlflowError."""
        client = self.tracking.client
        with self.tracking.asked(), tempfile.TemporaryDirectory(prefix="s3dnerf-model-") as place:
            from mlflow.entities import LoggedModelOutput
            from mlflow.models import Model

            logged = client.create_logged_model(
                experiment, name=self.name, source_run_id=run, params=package.facts(), tags=tags, model_type="video"
            )
            about = Model(logged.artifact_location, run, model_uuid=logged.model_id, model_id=logged.model_id)
            try:
                package.write(Path(place) / "model", about)
                client.log_model_artifacts(logged.model_id, str(Path(place) / "model"))
            except BaseException:
                client.finalize_logged_model(logged.model_id, "FAILED")
                raise
            client.finalize_logged_model(logged.model_id, "READY")
            client.log_outputs(run, [LoggedModelOutput(logged.model_id, step=0)])
        return logged

    def promote(self, version: Champion, before: Champion | None = None, best: Mapping[str, str] | None = None) -> None:
        """Give a version the alias. One write: either it is the champion afterwards or nothing changed.

        Parameters
        ----------
        before : the champion until now, which keeps a tag that it was promoted
        best : "corpus/metric" → the version that is still better than this one

        Raises MlflowError when it is not the champion, PromotionUnclear when nobody can say (the answer was lost, and
        nothing answers).
        """
        client = self.tracking.client
        with self.tracking.asked():
            if before is not None:
                client.set_model_version_tag(self.name, before.version, PROMOTED, "yes")
            client.set_model_version_tag(self.name, version.version, BEST, json.dumps(dict(best or {}), sort_keys=True))
        try:
            with self.tracking.asked():
                client.set_registered_model_alias(self.name, ALIAS, version.version)
        except MlflowError as error:
            if not self._became(version, error):
                raise
        try:
            with self.tracking.asked():
                client.set_model_version_tag(self.name, version.version, PROMOTED, "yes")
        except (
            MlflowError
        ) as error:  # it is the champion, which counts as promoted without the tag; the next one sets it
            logger.warning(
                f"{self.name} version {version.version} is the {ALIAS}, its tag {PROMOTED} is not set: {error}"
            )

    def _became(self, version: Champion, error: MlflowError) -> bool:
        """Whether a version is the champion although the answer to the write was an error: only that was lost then."""
        try:
            return self.champion() == version
        except MlflowError:
            said = f"whether version {version.version} of {self.name} became the {ALIAS} is not known, ask MLflow"
            raise PromotionUnclear(f"{said}: {error}") from error
