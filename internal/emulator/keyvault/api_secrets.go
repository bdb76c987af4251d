package keyvault

import "net/http"

func (c *call) secretBody(v secretView, withValue bool) map[string]any {
	body := c.secretItem(v, true)
	if withValue {
		body["value"] = v.version.Value
	}
	if v.version.managed {
		body["kid"] = c.link("keys", v.name, v.version.ID)
		if v.previous != "" && c.version >= sincePreviousVersion {
			body["previousVersion"] = v.previous
		}
	}
	return body
}

// secretItem is a secret in a list.
func (c *call) secretItem(v secretView, versioned bool) map[string]any {
	id := c.link("secrets", v.name)
	if versioned {
		id += "/" + v.version.ID
	}
	body := map[string]any{"id": id, "attributes": c.attributesOf(v.version.Attributes), "tags": tagsOf(v.version.version)}
	if v.version.ContentType != "" {
		body["contentType"] = v.version.ContentType
	}
	if v.version.managed {
		body["managed"] = true
	}
	return body
}

func listSecrets(c *call) (answer, error) {
	return page(c, c.vault.secrets(), func(v secretView) any { return c.secretItem(v, false) })
}

func listSecretVersions(c *call) (answer, error) {
	all, err := c.vault.secretVersions(c.name)
	if err != nil {
		return answer{}, err
	}
	return page(c, all, func(v secretView) any { return c.secretItem(v, true) })
}

func (c *call) secretAnswer(v secretView, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	return ok(c.secretBody(v, true))
}

func getSecret(c *call) (answer, error) {
	v, err := c.vault.secret(c.name, c.id)
	if form := c.query.Get("outContentType"); err == nil && form != "" {
		if c.version < sincePreviousVersion {
			return answer{}, badParameter("The parameter outContentType is not known.")
		}
		v, err = c.vault.secretAs(v, form)
	}
	return c.secretAnswer(v, err)
}

func setSecret(c *call) (answer, error) {
	var in secretSetting
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	return c.secretAnswer(c.vault.setSecret(c.name, in))
}

func updateSecret(c *call) (answer, error) {
	var in secretChange
	if err := c.read(&in); err != nil {
		return answer{}, err
	}
	v, err := c.vault.updateSecret(c.name, c.id, in)
	if err != nil {
		return answer{}, err
	}
	return ok(c.secretBody(v, false))
}

func (c *call) deletedSecretAnswer(k kept[secretView], err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	return ok(c.withDates(c.secretBody(k.view, false), secretKind, k.view.name, k.deletion))
}

func deleteSecret(c *call) (answer, error) {
	return c.deletedSecretAnswer(c.vault.deleteSecret(c.name, c.settle()))
}

func getDeletedSecret(c *call) (answer, error) {
	return c.deletedSecretAnswer(c.vault.deletedSecret(c.name))
}

func listDeletedSecrets(c *call) (answer, error) {
	return page(c, c.vault.deletedSecrets(), func(k kept[secretView]) any {
		return c.withDates(c.secretItem(k.view, false), secretKind, k.view.name, k.deletion)
	})
}

func recoverSecret(c *call) (answer, error) {
	v, err := c.vault.recoverSecret(c.name, c.settle())
	if err != nil {
		return answer{}, err
	}
	return answer{http.StatusOK, c.secretBody(v, false)}, nil
}

func restoreSecret(c *call) (answer, error) {
	text, err := c.readBackup()
	if err != nil {
		return answer{}, err
	}
	v, err := c.vault.restoreSecret(text)
	if err != nil {
		return answer{}, err
	}
	return ok(c.secretBody(v, false))
}
