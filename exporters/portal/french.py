"""The French texts of the portal, keyed by their English sentence.

Reasons and texts from the book are English, and the pages mark them as such.
"""

from __future__ import annotations

FRENCH = {
    # Every page
    "Skip to the content": "Aller au contenu",
    "Language": "Langue",
    "Sign out": "Se déconnecter",
    "Sign in": "Se connecter",
    "Back to the page": "Retour à la page",
    # Credits
    "Credits and GPUs of {startup}": "Crédits et GPU de {startup}",
    "Credits left": "Crédits restants",
    "credits": "crédits",
    "The books cannot be read at the moment. These figures are of {instant}.": (
        "Les comptes ne peuvent pas être lus en ce moment. Ces chiffres datent du {instant}."
    ),
    "The program is being tried out: notices are written, and nothing is stopped.": (
        "Le programme est à l'essai : des préavis sont écrits, et rien n'est arrêté."
    ),
    "No credits are left to spend. Ask the people who run your program.": (
        "Il ne reste plus de crédits à dépenser. Adressez-vous à l'équipe de votre programme."
    ),
    "Nothing runs, so nothing is spent.": "Rien ne tourne, donc rien n'est dépensé.",
    "At what runs now, they last to the end of the cohort on {day}.": (
        "Avec ce qui tourne maintenant, ils durent jusqu'à la fin de la cohorte, le {day}."
    ),
    "At what runs now, they last {duration}, until {instant}.": (
        "Avec ce qui tourne maintenant, ils durent {duration}, jusqu'au {instant}."
    ),
    "Ahead of the pace:": "En avance sur le rythme :",
    "Within the pace:": "Dans le rythme :",
    "{spent} credits are spent, {allowance} were planned to date.": (
        "{spent} crédits sont dépensés, {allowance} étaient prévus à ce jour."
    ),
    "At the end of the cohort, between {low} and {high} are expected to be left.": (
        "À la fin de la cohorte, il devrait en rester entre {low} et {high}."
    ),
    "At this rate nothing is left before the end of the cohort.": (
        "À ce rythme, il ne reste rien avant la fin de la cohorte."
    ),
    "{remaining} of {granted} credits are left.": "Il reste {remaining} crédits sur {granted}.",
    "No credits have been granted yet. Ask the people who run your program.": (
        "Aucun crédit n'a encore été accordé. Adressez-vous à l'équipe de votre programme."
    ),
    "State": "État",
    "Did Scaleway refuse a start?": "Scaleway a-t-il refusé un démarrage ?",
    "yes, for the organization's quota": "oui, à cause du quota de l'organisation",
    "Why": "Pourquoi",
    "What follows, and who may change it": "La suite, et qui peut la changer",
    "Spent an hour now": "Dépense par heure",
    "Granted": "Accordés",
    "Set aside for an orderly stop": "Réservés pour un arrêt en bon ordre",
    "Expires next": "Expire en premier",
    "As of {instant}. Times are those of {timezone}.": (
        "Au {instant}. Les heures sont celles de {timezone}."
    ),
    "open": "ouvert",
    "at limit": "au maximum",
    "no new servers": "aucun nouveau serveur",
    "powering off": "extinction",
    "Everything may run.": "Tout peut tourner.",
    "What runs may go on; nothing more may start.": (
        "Ce qui tourne peut continuer ; rien de plus ne peut démarrer."
    ),
    "Nothing new may start.": "Rien de nouveau ne peut démarrer.",
    "What runs is powered off after its notice.": "Ce qui tourne est éteint après son préavis.",
    # The chart
    "Credits left over the cohort": "Crédits restants au fil de la cohorte",
    "left": "restants",
    "planned": "prévus",
    "expected, with its range": "attendus, avec leur marge",
    "now": "maintenant",
    # GPUs
    "GPUs": "GPU",
    "Pool": "Groupe",
    "In use": "Utilisés",
    "Guaranteed": "Garantis",
    "Share": "Part",
    "Most now": "Maximum actuel",
    "{usage} of {ceiling} GPUs in use": "{usage} GPU utilisés sur {ceiling}",
    (
        "Guaranteed is yours whenever you ask. Share is what you get at today's demand. "
        "Most now is what may run at this moment."
    ): (
        "Les GPU garantis sont à vous dès que vous les demandez. La part est ce que vous recevez "
        "à la demande du jour. Le maximum actuel est ce qui peut tourner en ce moment."
    ),
    "There are no GPUs to share before your cohort starts, nor after its end.": (
        "Il n'y a pas de GPU à partager avant le début de votre cohorte, ni après sa fin."
    ),
    # Servers
    "Servers": "Serveurs",
    "Server": "Serveur",
    "Type": "Type",
    "Credits an hour": "Crédits par heure",
    "Since": "Depuis",
    "Will be stopped": "Sera arrêté",
    "no price yet": "pas encore de prix",
    "in {duration}": "dans {duration}",
    "no": "non",
    "running": "en marche",
    "starting": "démarre",
    "stopping": "s'arrête",
    "stopped in place": "arrêté sur place",
    "rebooting": "redémarre",
    "locked": "bloqué",
    "unknown": "inconnu",
    "Nothing runs. Start a server in your Scaleway project, and it is here within a minute.": (
        "Rien ne tourne. Démarrez un serveur dans votre projet Scaleway : il apparaît ici en "
        "une minute."
    ),
    "Nothing runs, and nothing new may start.": (
        "Rien ne tourne, et rien de nouveau ne peut démarrer."
    ),
    # Notices
    "Nothing of yours is about to be stopped.": "Rien de ce que vous avez ne va être arrêté.",
    "read {instant}": "lu le {instant}",
    "I have read it": "J'en ai pris connaissance",
    "Later by": "Reporter de",
    "Reason": "Raison",
    "Ask for a later deadline": "Demander un report",
    "A later deadline needs a length of the list and a reason.": (
        "Un report demande une durée de la liste et une raison."
    ),
    "Earlier notices": "Préavis précédents",
    "Notices": "Préavis",
    "Everything you run": "Tout ce que vous faites tourner",
    "to be stopped at {instant}": "arrêt prévu le {instant}",
    "Given {instant}": "Donné le {instant}",
    "only tried out": "à l'essai",
    "deferred": "retenu",
    "executing": "en cours",
    "executed": "exécuté",
    "cancelled": "annulé",
    "restarted": "rétabli",
    "restarting": "en cours de rétablissement",
    "finished": "clos",
    "announced": "annoncé",
    "shadow": "à l'essai",
    "No notices. Before anything of yours is stopped, you find it here first.": (
        "Aucun préavis. Avant tout arrêt, vous l'apprenez ici d'abord."
    ),
    # Requests
    "Requests for GPUs": "Demandes de GPU",
    (
        "That cannot be asked for: give a number of GPUs, and a duration of an hour or more, "
        "in whole numbers."
    ): (
        "Cela ne peut pas être demandé : donnez un nombre de GPU et une durée d'une heure ou "
        "plus, en nombres entiers."
    ),
    "For how long": "Durée",
    "Unit": "Unité",
    "hours": "heures",
    "days": "jours",
    "What for (optional)": "Pour quoi faire (facultatif)",
    "What for": "Pour quoi faire",
    "Ask for GPUs": "Demander des GPU",
    (
        "Your token may read and not ask. The people who run your program can give you one "
        "that may."
    ): (
        "Votre jeton permet de lire, pas de demander. L'équipe de votre programme peut vous en "
        "donner un qui le permet."
    ),
    "This cannot be read at the moment. Try again in a minute.": (
        "Cela ne peut pas être lu en ce moment. Réessayez dans une minute."
    ),
    "Number": "Numéro",
    "Asked": "Demandé",
    "Take back": "Retirer",
    "Take request {number} back": "Retirer la demande {number}",
    "waiting for GPUs": "en attente de GPU",
    "fulfilled": "satisfaite",
    "withdrawn": "retirée",
    "closed": "close",
    "No requests yet. Ask when you need more GPUs than you have, or want back what you lent.": (
        "Aucune demande. Demandez quand il vous faut plus de GPU que vous n'en avez, ou pour "
        "reprendre ce que vous avez prêté."
    ),
    # Statements
    "Statements": "Relevés",
    "Month": "Mois",
    "Opening": "Solde initial",
    "Charged": "Facturé",
    "Closing": "Solde final",
    "closed for good {instant}": "clos définitivement le {instant}",
    "still open": "encore ouvert",
    "No statements yet. The first one opens with your first credits.": (
        "Pas encore de relevé. Le premier s'ouvre avec vos premiers crédits."
    ),
    "These are the newest {most} of {count} lines. The API has them all.": (
        "Voici les {most} dernières lignes sur {count}. L'API les donne toutes."
    ),
    "What": "Quoi",
    "Duration": "Durée",
    "Credits": "Crédits",
    "charge": "dépense",
    "grant": "attribution",
    "expiry": "expiration",
    "refund": "remboursement",
    "void": "annulation d'attribution",
    "advance": "avance",
    # Decisions
    "What was decided, and why": "Ce qui a été décidé, et pourquoi",
    "When": "Quand",
    "Decision": "Décision",
    "Nothing has been decided about you yet.": "Rien n'a encore été décidé à votre sujet.",
    "notify": "préavis",
    "announce": "annonce",
    "stop": "arrêt",
    "close": "fermeture",
    "reopen": "réouverture",
    "would-stop": "arrêt à l'essai",
    "extend": "prolongation",
    "remind": "rappel",
    "breach": "préavis rompu",
    "defer": "retenue",
    "fulfil": "demande satisfaite",
    "finish": "fin de demande",
    "acknowledge": "préavis lu",
    "snooze": "report",
    "restart": "rétablissement",
    # An answer
    (
        "It is kept, and decided in the next cycle, usually within a minute. This page shows "
        "the answer by itself."
    ): (
        "C'est noté, et décidé au prochain cycle, d'ordinaire en moins d'une minute. Cette page "
        "affiche la réponse d'elle-même."
    ),
    "Done": "C'est fait",
    "Refused": "Refusé",
    "Asked {instant}": "Demandé le {instant}",
    "Decided {instant}": "Décidé le {instant}",
    # Signing in
    "Token": "Jeton",
    "It begins with cohortd_. The people who run your program gave it to you.": (
        "Il commence par cohortd_. L'équipe de votre programme vous l'a donné."
    ),
    "You have signed out.": "Vous êtes déconnecté.",
    "Sign in with the token of your startup.": "Connectez-vous avec le jeton de votre startup.",
    "Your token is no longer in force. Ask the people who run your program for a new one.": (
        "Votre jeton n'est plus valable. Demandez-en un nouveau à l'équipe de votre programme."
    ),
    "Your token has expired. Ask the people who run your program for a new one.": (
        "Votre jeton a expiré. Demandez-en un nouveau à l'équipe de votre programme."
    ),
    "Your token was revoked. Ask the people who run your program for a new one.": (
        "Votre jeton a été révoqué. Demandez-en un nouveau à l'équipe de votre programme."
    ),
    "That is no token: check it for a typing error.": (
        "Ce n'est pas un jeton : vérifiez qu'il n'y a pas de faute de frappe."
    ),
    "No such token is known here.": "Ce jeton n'est pas connu ici.",
    "This token may not read a startup's page. Ask for one with the scope read.": (
        "Ce jeton ne permet pas de lire la page d'une startup. Demandez-en un avec la portée read."
    ),
    "Too many attempts: wait a minute, then try again.": (
        "Trop d'essais : attendez une minute, puis réessayez."
    ),
    "The form was too old. Try again.": "Le formulaire était trop ancien. Réessayez.",
    # Refusals
    "Not done": "Pas fait",
    "This form is not from this page, or too old. Open the page again and repeat it.": (
        "Ce formulaire ne vient pas de cette page, ou il est trop ancien. Rouvrez la page et "
        "recommencez."
    ),
    "Too many requests in a minute: wait a minute, then go on.": (
        "Trop de requêtes en une minute : attendez une minute, puis continuez."
    ),
    "Too many of your requests wait for a decision. Try again in a minute.": (
        "Trop de vos demandes attendent une décision. Réessayez dans une minute."
    ),
    "This form was sent before, with something else in it. Open the page again and repeat it.": (
        "Ce formulaire a déjà été envoyé avec autre chose. Rouvrez la page et recommencez."
    ),
    "There is nothing of yours at this address.": "Il n'y a rien à vous à cette adresse.",
    "There is nothing at this address.": "Il n'y a rien à cette adresse.",
    "The program has not started yet. Come back later.": (
        "Le programme n'a pas encore commencé. Revenez plus tard."
    ),
    "The books cannot be read at the moment. Try again in a minute.": (
        "Les comptes ne peuvent pas être lus en ce moment. Réessayez dans une minute."
    ),
    "It could not be kept. Send it again in a minute.": (
        "Cela n'a pas pu être noté. Renvoyez-le dans une minute."
    ),
}
